"""LeNet5 on MNIST with BigDL's DistriOptimizer."""
