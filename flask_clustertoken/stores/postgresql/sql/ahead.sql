-- Keep a large value for this transaction, before anything is locked: it may be long in coming.
-- 1 realm, 2 the value
SELECT length(set_config('clustertoken_ahead.value', encode($2, 'base64'), true))
