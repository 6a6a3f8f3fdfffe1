-- The server's clock, in microseconds.
WITH here AS MATERIALIZED (:here)
SELECT :status, :micros FROM here
