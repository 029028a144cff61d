"""What labs in real time share: members, the merge of their events, links in the engine, waiting."""
