"""Tables, figures and reports: a pure function of records. Free of torch."""
