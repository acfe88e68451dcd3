//! Tables in memory: what loads read of them.

use crate::advance::load::Run;
use crate::ids::WorkflowId;
use crate::store::{HistoryRow, Token};

use super::rows::{Record, Tables};

impl Tables {
    /// The visible history of a run, in order.
    pub(super) fn visible(&self, id: WorkflowId) -> Vec<HistoryRow> {
        let cuts = &self.runs[&id].cuts;
        let hidden = |row: &HistoryRow| {
            let container = matches!(row.queue.as_str(), "JOIN" | "DO_WHILE");
            cuts.iter().any(|cut| {
                cut.epoch > row.epoch
                    && (row.seq >= cut.seq || (container && row.ended_at > cut.at))
                    && !cut.kept.contains(&row.seq)
            })
        };
        let mut rows: Vec<HistoryRow> = self
            .history
            .iter()
            .filter(|row| row.workflow_id == id && !hidden(row))
            .cloned()
            .collect();
        rows.sort_by_key(|row| (row.seq, row.attempt));
        rows
    }

    /// The loops around a token, from the innermost.
    pub(super) fn loops(&self, scope: Option<i64>) -> Vec<crate::store::LoopRow> {
        let mut around = Vec::new();
        let mut next = scope;
        while let Some(open) = next.and_then(|id| self.open.get(&id)) {
            if open.row.task_type.as_deref() == Some("DO_WHILE") {
                let token = &open.row.token;
                around.push(crate::store::LoopRow {
                    workflow_id: token.workflow_id,
                    reference_name: token.reference_name.to_string(),
                    input: token.input.clone(),
                    items: token.detail.as_ref().and_then(|detail| detail.get("items").cloned()),
                });
            }
            next = open.row.token.scope;
        }
        around
    }

    /// A run with its visible history.
    pub(super) fn run(&self, record: &Record) -> Run {
        let history = self.visible(record.row.id);
        let detached = self.detached(record);
        crate::advance::load::run_of(&record.plan, &record.row, &history, &detached)
    }

    /// Children that were brought back by themselves, of a run that goes on with such.
    fn detached(&self, parent: &Record) -> Vec<WorkflowId> {
        let of = |child: &&Record| {
            child.row.parent_id == Some(parent.row.id) && child.row.parent_token.is_none()
        };
        let resumes = parent.row.resumes;
        self.runs.values().filter(|_| resumes).filter(of).map(|child| child.row.id).collect()
    }

    /// A run as whoever decides for this token reads it.
    pub(super) fn load(&self, token: &Token) -> Run {
        let record = &self.runs[&token.workflow_id];
        let mut run = self.run(record);
        let asked = crate::advance::asked(token);
        crate::advance::load::enter(&mut run, &asked, &self.loops(token.scope)).unwrap();
        run.state.fresh = true;
        run
    }
}
