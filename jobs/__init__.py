"""Entry scripts for spark-submit, one verb each."""
