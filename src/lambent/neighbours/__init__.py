"""Services that are not Lambent's own: which there are, where each is, and how requests get there."""
