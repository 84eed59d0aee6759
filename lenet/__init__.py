"""LeNet5 on MNIST with BigDL's DistriOptimizer."""

import warnings

# Python 3.12 and later warn of what stands in BigDL's docstrings, whenever they compile them.
warnings.filterwarnings("ignore", category=SyntaxWarning, module=r".*/bigdl/")
