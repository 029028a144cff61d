"""Labs of Mininet: its hosts, links and switches, with our stack on the hosts and our link engine on the links."""
