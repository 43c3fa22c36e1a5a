"""The Graft operator: watches BaseModels and LoraAdapters and makes the cluster follow them."""
