"""What is wanted of the pod: the operator's document (`documents`), from a ConfigMap that is watched (`configmap`),
or from a file where a pod has no API to ask (`file`).
"""
