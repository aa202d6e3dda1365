"""The searcher: holds the shards of one group, and searches them."""
