"""Speed: cases shared with the tests, the limits of the machine, kernels and training measured against them."""
