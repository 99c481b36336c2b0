#!/bin/bash
# Encrypts the logins of the three databases, once. The key lies beside the file: this is a stack to try things on.
set -euo pipefail
umask 077
[ -e /data/credentials/credentials.json ] && exit
mkdir -p /data/credentials
trap 'rm -f /tmp/plain.json' EXIT
cat >/tmp/plain.json <<JSON
{"databases": [
  {"id": "postgresql", "type": "postgresql", "host": "postgresql", "port": 5432, "username": "postgres",
   "password": "$DB_PASSWORD", "database": "*", "ssl": {"enabled": false}},
  {"id": "mariadb", "type": "mariadb", "host": "mariadb", "port": 3306, "username": "root",
   "password": "$DB_PASSWORD", "database": "*", "ssl": {"enabled": false}},
  {"id": "mysql", "type": "mysql", "host": "mysql", "port": 3306, "username": "root",
   "password": "$DB_PASSWORD", "database": "*", "ssl": {"enabled": false}}
]}
JSON
vyactl credentials encrypt --input /tmp/plain.json --output /data/credentials/credentials.json
