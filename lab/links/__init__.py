"""Links: impairments, queues, packet rules and the pipeline of one direction; and the learning switch."""
