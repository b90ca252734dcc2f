"""Trains a study on the hosts of a cluster, by Ray."""
