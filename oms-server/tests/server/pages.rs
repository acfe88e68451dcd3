//! What is made from the command line itself, and docs/cli.md, which is held to it.

use std::fmt::Write as _;

use crate::cli::Scratch;
use crate::command::oms;

const HEAD: &str = "\
# Command line

What `oms` and each of its commands say with `--help`; options that are listed with a command also count
for the commands below it. A test holds this page to the binary; it is made anew with
`UPDATE_EXPECT=1 cargo test -p oms-server --test server pages`.
";

fn write(command: clap::Command, name: &str, page: &mut String) {
    // From before it is built: then each command lists the options of its parents as well.
    let below: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    let mut command = command.term_width(100).bin_name(name).disable_help_subcommand(true);
    let level = "#".repeat(2 + name.matches(' ').count());
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    writeln!(page, "\n{level} `{name}`\n\n```text\n{}\n```", lines.join("\n")).unwrap();
    for sub in below {
        let name = format!("{name} {}", sub.get_name());
        write(sub, &name, page);
    }
}

#[test]
fn the_page_says_what_the_commands_say() {
    let mut page = HEAD.to_owned();
    write(oms_server::cli::command(), "oms", &mut page);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(kept == page, "docs/cli.md: UPDATE_EXPECT=1 makes it anew");
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(oms(&["completions", shell]).expect(0).out.contains("terminate"), "{shell}");
    }
    assert!(oms(&["man"]).expect(0).out.contains(".TH oms 1"));
    let scratch = Scratch::new("man");
    oms(&["man", "--dir", scratch.0.to_str().unwrap()]).expect(0);
    let page = std::fs::read_to_string(scratch.0.join("oms-workflow-start.1")).unwrap();
    assert!(page.contains("idempotency"), "{page}");
}
