//! The linear five for other engines, and how their programs speak with the harness, which measures.
//!
//! A program is called with the URL of an empty database and the number of runs. It says `ready`
//! when its tables are made, waits for a line, does all runs, makes sure that each gave what it
//! should, says `done`, and ends when its standard input does: until then it is measured.

use std::io::BufRead as _;

use mimalloc::MiMalloc;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

/// That of the harness.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub const STEPS: [&str; 5] = ["s1", "s2", "s3", "s4", "s5"];

#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Input {
    pub data: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Output {
    pub text: String,
}

/// 200 bytes.
pub fn input(n: usize) -> Input {
    Input { data: format!("{n:-<190}") }
}

/// 50 bytes.
pub fn output(step: &str, input: &Input) -> Output {
    let begin: String = input.data.chars().take(20).collect();
    Output { text: format!("{:-<36}", format!("{step}:{begin}")) }
}

/// What the program was called with: the database's URL and the number of runs.
pub fn arguments() -> Result<(String, usize), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("the first argument is the database's URL")?;
    let runs = arguments.next().ok_or("the second argument is the number of runs")?;
    Ok((url, runs.parse()?))
}

/// Does so many runs, a number of them at a time, and counts those that gave what they should.
pub async fn count_right<R>(
    runs: usize,
    at_once: usize,
    mut run: impl FnMut(usize) -> R,
) -> Result<usize, Failure>
where
    R: Future<Output = Result<bool, Failure>> + Send + 'static,
{
    let (mut right, mut under_way) = (0, JoinSet::new());
    for n in 0..runs {
        if under_way.len() == at_once
            && let Some(ended) = under_way.join_next().await
        {
            right += usize::from(ended??);
        }
        under_way.spawn(run(n));
    }
    while let Some(ended) = under_way.join_next().await {
        right += usize::from(ended??);
    }
    Ok(right)
}

/// Says that the tables are made and waits until the work may begin.
pub fn ready() -> Result<(), Failure> {
    println!("ready");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(())
}

/// Says that all is done, if what was counted is what was wanted, and waits until this was measured.
pub fn done(counted: usize, wanted: usize) -> Result<(), Failure> {
    if counted != wanted {
        return Err(format!("{counted} of {wanted} are right").into());
    }
    println!("done");
    std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink())?;
    Ok(())
}
