-- For this transaction alone: its commit is waited for, its locks are not for ever.
-- 1 milliseconds
SELECT set_config('synchronous_commit', 'on', true), set_config('lock_timeout', $1, true)
