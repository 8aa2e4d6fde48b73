-- Harmonic mean of base and new accuracy, the H of the base-to-new protocol; 0 when both are 0.
CREATE MACRO harmonic_mean(base, new) AS
    CASE WHEN base + new = 0 THEN 0.0 ELSE 2.0 * base * new / (base + new) END;
