-- The feed's last number.
WITH here AS MATERIALIZED (:durable)
SELECT :status, here.seq FROM here
