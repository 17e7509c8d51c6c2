//! Tables that are captured, as the catalogue describes them.
