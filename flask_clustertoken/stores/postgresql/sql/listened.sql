-- From here on an append notifies. 1 realm
UPDATE clustertoken.realm SET listened = true WHERE realm = $1 AND NOT listened
