"""Starting and stopping a standalone Spark cluster; scripts/cluster.py is the way in."""
