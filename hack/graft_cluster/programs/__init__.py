"""The programs of a cluster and of its tests: built from Go modules, or taken out of Debian's packages."""
