"""The experiments, one file each; nncore.lab.EXPERIMENTS lists them."""
