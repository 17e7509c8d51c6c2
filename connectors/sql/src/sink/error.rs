//! Errors of what sources and sinks share, in the words for a target.

use tailrace_core::Error;

/// An error of a connection, as it is told of a target. What is not about a database stays as it is.
pub fn of_target(error: Error) -> Error {
    let code = match error.code() {
        "source_missing" => "target_missing",
        "source_unreachable" | "source_unreadable" => "target_unreachable",
        "source_authentication" => "target_authentication",
        "source_authentication_method" => "target_authentication_method",
        "source_asks_for_file" => "target_asks_for_file",
        "source_tls" => "target_tls",
        "source_connection_lost" => "target_connection_lost",
        "source_unavailable" => "target_unavailable",
        "source_resources" => "target_resources",
        "source_locked" => "target_locked",
        "source_permission" => "insufficient_privilege",
        "source_corrupt" => "target_corrupt",
        "source_query" | "source_error" => "target_error",
        _ => return error,
    };
    error.with_code(code)
}

#[cfg(test)]
mod tests {
    use tailrace_core::error::Kind;

    use super::*;

    #[test]
    fn errors_of_the_way_are_told_of_the_target() {
        let error = of_target(Error::transient("source_unreachable", "cannot reach db:3306"));
        assert_eq!((error.kind(), error.code()), (Kind::Transient, "target_unreachable"));
        assert_eq!(error.to_string(), "cannot reach db:3306");
        assert_eq!(of_target(Error::definite("config", "x")).code(), "config");
    }
}
