# Versions of what the cluster is made of. What is built is kept in the cache by them.
KUBERNETES=v1.37.2
ETCD=v3.7.3
CONTAINERD=v2.4.2
CNI_PLUGINS=v1.9.1
COREDNS=v1.15.0
METRICS_SERVER=v0.9.0
KWOK=v0.8.0
HELM=v4.3.1
GHZ=v0.93.0
VERSITYGW=v1.8.0 # as in tools/s3-server
