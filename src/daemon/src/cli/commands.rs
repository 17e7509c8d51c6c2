//! The page of the command line, from the same types that read it.

use clap::{Command, CommandFactory};

use super::Cli;

const HEAD: &str = "# Command line

Generated from the types with `tailrace schema --commands`; a test compares it.

";

/// What every command says of itself with `--help`.
pub(crate) fn page() -> String {
    let mut cli = Cli::command().term_width(100);
    cli.build();
    let mut page = HEAD.to_owned();
    page += &section("tailrace", &mut cli.clone());
    for command in cli.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let title = format!("tailrace {}", command.get_name());
        page += &section(&title, command);
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            page += &section(&format!("{title} {}", inner.get_name()), inner);
        }
    }
    page
}

fn section(title: &str, command: &mut Command) -> String {
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    format!("## {title}\n\n```text\n{}\n```\n\n", lines.join("\n").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/command-line.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/reference/command-line.md is not current: cargo run -- schema --commands > docs/reference/command-line.md"
        );
    }
}
