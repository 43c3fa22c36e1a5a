"""Makes the adapter a version: merged where that is asked for, with its model card, its report and its manifest."""
