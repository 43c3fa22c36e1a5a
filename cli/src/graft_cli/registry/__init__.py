"""The registry's bucket, with the person's own login. Its client is installed by those alone who use these verbs."""
