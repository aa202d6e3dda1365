"""Published datasets, from local copies and with their protocols pinned.

Each becomes the two files that everything else reads: a list of pictures for the indexer, and a query set.
"""
