//! The definition of a run as a picture, with where the run stands.

use super::look::Look;
use super::run::Seen;
use crate::graph::{Mark, Node, layout_of_run, within};
use crate::shown::plain_name;

/// Markup.
pub(super) fn picture(seen: &Seen<'_>, chosen: &str) -> String {
    let run = seen.run;
    let chosen = plain_name(chosen).0;
    let mark = |node: &Node| {
        let name = node.reference_name.as_str();
        let Some(task) = seen.last.get(name) else {
            let Look { class, word, .. } = Look::NOT_REACHED;
            let link = Some(seen.link_to(name));
            let chosen = name == chosen;
            return Mark { class, word: word.to_owned(), link, chosen, ..Mark::default() };
        };
        let look = Look::of_task(task);
        let mut word = look.word.to_owned();
        if task.retry_count > 0 {
            word.push_str(&format!(", attempt {}", i32::from(task.retry_count) + 1));
        }
        let (_, turn) = plain_name(&task.reference_task_name);
        if turn > 0 {
            word.push_str(&format!(", turn {turn}"));
        }
        Mark {
            class: look.class,
            icon: look.icon,
            word,
            link: Some(seen.link_to(&task.reference_task_name)),
            chosen: name == chosen,
            critical: seen.spent.goes_by_step(name),
        }
    };
    let title = format!("{}: {}", run.workflow_name, Look::of_run(run.status).word);
    within(&layout_of_run(&run.definition, seen.forks), &title, &mark)
}
