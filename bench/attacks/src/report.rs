//! The page: the tables, and what a reader has to know of them.

use std::fmt::Write as _;
use std::process::Command;

use crate::families::{ATTACKS, HONEST};
use crate::measure::Measured;
use crate::options::Options;
use crate::sitting::{HostileRow, Row, Sitting};

const RULES: &str = "\
The rules for every row: the server does not panic, and answers a new connection afterwards; the attacker makes it grow by
16 MiB at most (more where the row opens thousands of sockets or connections, as its limit says) and not without end; what is
refused is refused within the limit and one more, with the code that says so; bystanders, WebSockets on four connections of
their own that send 32 octets a thousand times a second together, get 99 of 100 echoes within 5 ms, or within twice the time
of before if that is more; and afterwards at most half as much again and 16 MiB stay resident. A row that breaks a rule says
**FAIL** and why. A flood goes on for two seconds, on a new connection whenever one is refused; *at N* is the first unit
that was refused on a connection whose units were counted.

CPU is the server's time on its processor, in seconds for each second of the attack, bystanders' 2 to 4 % included. p99 is
that of the bystanders, in milliseconds, before → during; a row during which the host of this virtual machine gave more than 0.5 % of the
processors' time to others is measured again, up to twice, and if that was no use its time has an asterisk and is held to no rule. *Left* is what is resident more than before, once connections are
closed and at most eight seconds are over. *axum* is hyper, `h2` and tungstenite as `bench/peers/axum` has them, attacked in
the same way in the same run; it speaks HTTP/2 alone there, and no compression. Its limits are other ones, and it is held to none of ours:
its figures are there to compare.
";

pub fn render(sitting: &Sitting, options: &Options) -> String {
    let mut page = String::from("# Attacks\n\nMade by a program: do not edit.\n\n");
    let (passed, failed) = sitting.verdict();
    let _ = writeln!(
        page,
        "`{}`, {}, {:.0} minutes: {passed} rows pass, {failed} fail; the host disturbed the times of {}.\n",
        options.command(),
        today(),
        sitting.minutes,
        sitting.disturbed()
    );
    let _ = writeln!(page, "- {}", machine());
    let _ = writeln!(
        page,
        "- sockeye {}, {}; axum 0.8.9 with hyper 1.12.0\n",
        output("git", &["describe", "--always", "--dirty", "--tags"]),
        output("rustc", &["--version"])
    );
    page.push_str(RULES);
    if options.without_times {
        page.push_str(
            "\nThis run was made without the rules about time, and has no p99, as the machine was not its own.\n",
        );
    }
    for family in ATTACKS {
        table(&mut page, family.name, family.title, &sitting.attacks);
    }
    page.push_str("\n# Honest traffic\n\nOf equal rank: none of this may meet a limit. A GOAWAY, a reset or a Close that nobody asked for fails the row.\n");
    for family in HONEST {
        table(&mut page, family.name, family.title, &sitting.honest);
    }
    hostile(&mut page, &sitting.hostile);
    page
}

fn table(page: &mut String, family: &str, title: &str, rows: &[Row]) {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.family == family).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n## {title}\n");
    page.push_str("| attack | limit | what it sees | growth | CPU | p99 | left | axum: what it sees | growth | CPU | p99 | left |\n");
    page.push_str("|---|---|---|--:|--:|--:|--:|---|--:|--:|--:|--:|\n");
    for row in rows {
        let verdict = if row.ours.failures.is_empty() {
            String::new()
        } else {
            format!("**FAIL** {}. ", escape(&row.ours.failures.join("; ")))
        };
        let _ = writeln!(
            page,
            "| {} ({}) | {} | {verdict}{} | {} | {} | {} |",
            escape(row.name),
            escape(row.why),
            escape(row.limit),
            escape(&row.ours.seen),
            figures(&row.ours),
            row.axum.as_ref().map_or_else(String::new, |axum| escape(&axum.seen)),
            row.axum.as_ref().map_or_else(|| " | | | ".to_owned(), figures),
        );
    }
}

fn figures(measured: &Measured) -> String {
    if measured.start == 0 {
        return " | | | ".to_owned();
    }
    let p99 = match (measured.p99_before, measured.p99_during) {
        (Some(before), Some(during)) => {
            format!("{} → {}{}", short(before), short(during), if measured.is_disturbed { "\\*" } else { "" })
        }
        _ => String::new(),
    };
    let mib = |octets: f64| short(octets / f64::from(1 << 20));
    format!("{} MiB | {:.2} | {p99} | {} MiB", mib(measured.growth as f64), measured.cpu, mib(measured.left as f64))
}

fn hostile(page: &mut String, rows: &[HostileRow]) {
    if rows.is_empty() {
        return;
    }
    page.push_str(
        "\n# Hostile servers\n\nA client of the library, in a process of its own, is to name an error (or to get what it asked for) within a time, and to grow by 16 MiB at most.\n\n\
         | server | limit | what the client says | after | growth | CPU |\n|---|--:|---|--:|--:|--:|\n",
    );
    for row in rows {
        let client = &row.client;
        let verdict = if client.failures.is_empty() {
            String::new()
        } else {
            format!("**FAIL** {}. ", escape(&client.failures.join("; ")))
        };
        let _ = writeln!(
            page,
            "| {} ({}) | {:.0} s | {verdict}{} | {:.1} s | {} MiB | {:.2} |",
            escape(row.name),
            row.why,
            row.within,
            escape(&client.outcome),
            client.seconds,
            short(client.growth as f64 / f64::from(1 << 20)),
            client.cpu,
        );
    }
}

fn short(figure: f64) -> String {
    let decimals = if figure >= 99.95 { 0 } else { usize::from(figure < 9.995) + 1 };
    format!("{figure:.decimals$}")
}

fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn today() -> String {
    output("date", &["+%Y-%m-%d"])
}

fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = output("uname", &["-sr"]);
    format!("Machine: {}; {kernel}", model.trim_start_matches([':', ' ', '\t']))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
