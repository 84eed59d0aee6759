"""The standalone cluster: what it leaves on every node, its daemons, and the way to it.

The hosts (workers_file), what every node knows (state), the daemons of one node (node), other nodes
by ssh (ssh), a cluster of this machine alone (loopback), and a job's way to a Master (master).
"""
