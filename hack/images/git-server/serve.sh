# Serves the repositories that are named, all empty at first.
set -eu
for name in "$@"; do
  git init --quiet --bare --initial-branch=main "/srv/git/$name.git"
  git -C "/srv/git/$name.git" config http.receivepack true
done
exec lighttpd -D -f /etc/lighttpd/git.conf
