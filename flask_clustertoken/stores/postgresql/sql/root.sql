-- What is said once about the realm.
WITH here AS MATERIALIZED (:here)
SELECT :status, here.epoch, here.state, here.moved_to, here.format FROM here
