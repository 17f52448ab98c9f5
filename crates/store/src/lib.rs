//! The authority's store: core's ports as tables, audit chained in the same commit.
