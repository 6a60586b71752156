"""What the promotions bench plays: the training runs of a control plane that is real otherwise."""
