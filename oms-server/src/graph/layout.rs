//! Where each step of a definition stands in its picture.
//!
//! Definitions are series-parallel, so the place is exact and needs no search: what follows stands
//! below, what runs side by side stands side by side, and each part has a rectangle of its own. The first
//! pass finds the size of each part, the second one its place; both are linear.

use std::collections::HashSet;

use oms_engine::definition::TaskType;
use oms_engine::{WorkflowDef, WorkflowTask};

use super::run::{Forks, Mark, Rest};

/// The size of a step.
pub(crate) const WIDTH: i32 = 204;
pub(crate) const HEIGHT: i32 = 46;
/// Between what stands below each other, and side by side.
const BELOW: i32 = 26;
const BESIDE: i32 = 22;
/// From a step to the branches that it opens, with room for the name of each.
const OPENING: i32 = 44;
/// From branches to where they meet.
const CLOSING: i32 = 20;
/// Around the body of a loop.
const FRAME: i32 = 14;
/// The width of a branch without steps.
const LANE: i32 = 90;
/// Around all of it, and how large its begin and end are.
const MARGIN: i32 = 16;
pub(crate) const DOT: i32 = 7;

/// A point, from the upper left corner.
pub(crate) type Point = (i32, i32);

/// A picture. All numbers are pixels.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) width: i32,
    pub(crate) height: i32,
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) frames: Vec<Frame>,
    /// Where it begins and where it ends.
    pub(crate) dots: Vec<Point>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) reference_name: String,
    pub(crate) kind: String,
    /// The name of the task.
    pub(crate) name: String,
    /// The upper left corner.
    pub(crate) at: Point,
    /// What is said of it, where it stands for more than a step.
    pub(crate) own: Option<Mark>,
}

/// What leads from a step to one that follows.
#[derive(Debug)]
pub(crate) struct Edge {
    /// Each stands at or below the one before.
    pub(crate) points: Vec<Point>,
    /// The case that it stands for, and where that is written.
    pub(crate) label: Option<(String, Point)>,
    /// Whether it leads to a step.
    pub(crate) arrow: bool,
    /// To a task that undoes another.
    pub(crate) undoes: bool,
}

/// Around what a loop repeats.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) at: Point,
    pub(crate) size: (i32, i32),
}

/// The place of every step of a definition.
pub(crate) fn layout(def: &WorkflowDef) -> Layout {
    layout_of_run(def, &Forks::new())
}

/// The same with what dynamic forks have opened.
pub(crate) fn layout_of_run(def: &WorkflowDef, forks: &Forks) -> Layout {
    let whole = Sizes { forks, drawn: HashSet::new() }.line(&def.tasks);
    let mut drawn = Layout {
        width: whole.width + 2 * MARGIN,
        height: whole.height + 2 * (MARGIN + 2 * DOT + BELOW),
        ..Layout::default()
    };
    let axis = MARGIN + whole.axis;
    let (begin, end) = (MARGIN + DOT, drawn.height - MARGIN - DOT);
    let top = begin + DOT + BELOW;
    drawn.dots = vec![(axis, begin), (axis, end)];
    drawn.edge(vec![(axis, begin + DOT), (axis, top)], None);
    drawn.place(&whole, (MARGIN, top));
    if !whole.ends {
        drawn.edge(vec![(axis, top + whole.height), (axis, end - DOT)], None);
    }
    drawn
}

/// A part of a definition with its size.
struct Part<'a> {
    width: i32,
    height: i32,
    /// Where it is entered and left, from its left side.
    axis: i32,
    /// Whether nothing follows it.
    ends: bool,
    what: What<'a>,
}

enum What<'a> {
    Line(Vec<Part<'a>>),
    Step(&'a WorkflowTask),
    /// A step and what it opens, each with its name.
    Branches(&'a WorkflowTask, Vec<(Option<&'a str>, Part<'a>)>),
    Loop(&'a WorkflowTask, Box<Part<'a>>),
    /// Branches that are drawn as one, with the name of their fork.
    Rest(&'a Rest, &'a str),
}

/// The first pass.
struct Sizes<'a> {
    forks: &'a Forks,
    /// Those that are drawn with their branches. A name is looked for in what data brought, which may
    /// have it again: drawn once, it ends.
    drawn: HashSet<&'a str>,
}

impl<'a> Sizes<'a> {
    fn line(&mut self, tasks: &'a [WorkflowTask]) -> Part<'a> {
        let parts: Vec<Part<'_>> = tasks.iter().map(|task| self.part(task)).collect();
        let left = parts.iter().map(|part| part.axis).max().unwrap_or(LANE / 2);
        let right = parts.iter().map(|part| part.width - part.axis).max().unwrap_or(LANE / 2);
        let gaps = i32::try_from(parts.len().saturating_sub(1)).unwrap_or(0) * BELOW;
        Part {
            width: left + right,
            height: parts.iter().map(|part| part.height).sum::<i32>() + gaps,
            axis: left,
            ends: parts.last().is_some_and(|part| part.ends),
            what: What::Line(parts),
        }
    }

    fn part(&mut self, task: &'a WorkflowTask) -> Part<'a> {
        match task.task_type {
            TaskType::Switch | TaskType::Decision => {
                let cases = task.decision_cases.iter();
                let cases = cases.map(|(name, tasks)| (Some(name.as_str()), tasks));
                let all = cases.chain([(Some("otherwise"), &task.default_case)]);
                branches(task, all.map(|(name, tasks)| (name, self.line(tasks))).collect())
            }
            TaskType::ForkJoin if !task.fork_tasks.is_empty() => {
                let opened = task.fork_tasks.iter().map(|tasks| (None, self.line(tasks)));
                branches(task, opened.collect())
            }
            TaskType::ForkJoinDynamic => self.fork(task),
            TaskType::DoWhile if !task.loop_over.is_empty() => {
                let body = self.line(&task.loop_over);
                let axis = FRAME + body.axis.max(WIDTH / 2);
                let right = FRAME + (body.width - body.axis).max(step(task).width - WIDTH / 2);
                Part {
                    width: axis + right,
                    height: 2 * FRAME + HEIGHT + BELOW + body.height,
                    axis,
                    ends: false,
                    what: What::Loop(task, Box::new(body)),
                }
            }
            _ => step(task),
        }
    }

    /// A dynamic fork with the branches that it has opened; as a step where that is not known.
    fn fork(&mut self, task: &'a WorkflowTask) -> Part<'a> {
        let name = task.task_reference_name.as_str();
        let opened = self.forks.get(name).filter(|_| self.drawn.insert(name));
        let Some(opened) = opened.filter(|opened| !opened.branches.is_empty()) else {
            return step(task);
        };
        let each = opened.branches.iter().map(std::slice::from_ref);
        let mut all: Vec<_> = each.map(|branch| (None, self.line(branch))).collect();
        let rest = opened.rest.iter().map(|rest| plain(What::Rest(rest, name)));
        all.extend(rest.map(|part| (None, part)));
        branches(task, all)
    }
}

/// The size of a step alone.
fn plain(what: What<'_>) -> Part<'_> {
    Part { width: WIDTH, height: HEIGHT, axis: WIDTH / 2, ends: false, what }
}

fn step(task: &WorkflowTask) -> Part<'_> {
    let beside = if task.compensation.is_some() { BESIDE + WIDTH } else { 0 };
    let ends = task.task_type == TaskType::Terminate;
    Part { width: WIDTH + beside, ends, ..plain(What::Step(task)) }
}

fn branches<'a>(task: &'a WorkflowTask, opened: Vec<(Option<&'a str>, Part<'a>)>) -> Part<'a> {
    let gaps = i32::try_from(opened.len().saturating_sub(1)).unwrap_or(0) * BESIDE;
    let wide = opened.iter().map(|(_, part)| part.width).sum::<i32>() + gaps;
    let tall = opened.iter().map(|(_, part)| part.height).max().unwrap_or(0);
    let own = step(task);
    let axis = (wide / 2).max(own.axis);
    Part {
        width: axis + (wide - wide / 2).max(own.width - own.axis),
        height: HEIGHT + OPENING + tall + CLOSING,
        axis,
        ends: opened.iter().all(|(_, part)| part.ends),
        what: What::Branches(task, opened),
    }
}

impl Layout {
    fn edge(&mut self, mut points: Vec<Point>, label: Option<(String, Point)>) {
        points.dedup();
        self.edges.push(Edge { points, label, arrow: true, undoes: false });
    }

    /// One that leads to what goes on from there.
    fn joins(&mut self, mut points: Vec<Point>) {
        points.dedup();
        self.edges.push(Edge { points, label: None, arrow: false, undoes: false });
    }

    fn node(&mut self, task: &WorkflowTask, at: Point) {
        self.nodes.push(Node {
            reference_name: task.task_reference_name.clone(),
            kind: task.task_type.to_string(),
            name: task.name.clone(),
            at,
            own: None,
        });
        let Some(undo) = task.compensation.as_deref() else { return };
        let middle = at.1 + HEIGHT / 2;
        let beside = (at.0 + WIDTH + BESIDE, at.1);
        let reference_name = match undo.task_reference_name.as_str() {
            "" => format!("{}_undo", task.task_reference_name),
            name => name.to_owned(),
        };
        let points = vec![(at.0 + WIDTH, middle), (beside.0, middle)];
        self.edges.push(Edge { points, label: None, arrow: true, undoes: true });
        self.nodes.push(Node {
            reference_name,
            kind: undo.task_type.to_string(),
            name: undo.name.clone(),
            at: beside,
            own: None,
        });
    }

    fn place(&mut self, part: &Part<'_>, (left, top): Point) {
        let axis = left + part.axis;
        match &part.what {
            What::Step(task) => self.node(task, (axis - WIDTH / 2, top)),
            What::Rest(rest, fork) => self.nodes.push(Node {
                reference_name: rest.text.clone(),
                kind: "branches".to_owned(),
                name: (*fork).to_owned(),
                at: (axis - WIDTH / 2, top),
                own: Some(rest.mark.clone()),
            }),
            What::Line(parts) => self.place_line(parts, (axis, top)),
            What::Branches(task, opened) => {
                self.node(task, (axis - WIDTH / 2, top));
                self.place_branches(opened, (axis, top), part.height);
            }
            What::Loop(task, body) => {
                self.frames.push(Frame { at: (left, top), size: (part.width, part.height) });
                let top = top + FRAME;
                self.node(task, (axis - WIDTH / 2, top));
                let begin = top + HEIGHT + BELOW;
                self.edge(vec![(axis, top + HEIGHT), (axis, begin)], None);
                self.place(body, (axis - body.axis, begin));
                if !body.ends {
                    let end = begin + body.height;
                    self.joins(vec![(axis, end), (axis, end + FRAME)]);
                }
            }
        }
    }

    fn place_line(&mut self, parts: &[Part<'_>], (axis, top): Point) {
        let mut y = top;
        if parts.is_empty() {
            return;
        }
        for (n, part) in parts.iter().enumerate() {
            self.place(part, (axis - part.axis, y));
            y += part.height;
            if n + 1 < parts.len() {
                if !part.ends {
                    self.edge(vec![(axis, y), (axis, y + BELOW)], None);
                }
                y += BELOW;
            }
        }
    }

    fn place_branches(
        &mut self,
        opened: &[(Option<&str>, Part<'_>)],
        (axis, top): Point,
        height: i32,
    ) {
        let (leaves, begin, end) = (top + HEIGHT, top + HEIGHT + OPENING, top + height);
        let gaps = i32::try_from(opened.len().saturating_sub(1)).unwrap_or(0) * BESIDE;
        let wide = opened.iter().map(|(_, part)| part.width).sum::<i32>() + gaps;
        let mut left = axis - wide / 2;
        for (name, part) in opened {
            let x = left + part.axis;
            let bus = leaves + OPENING / 3;
            let label = name.map(|name| (name.to_owned(), (x, begin - 12)));
            self.edge(vec![(axis, leaves), (axis, bus), (x, bus), (x, begin)], label);
            self.place(part, (left, begin));
            if !part.ends {
                let meet = end - CLOSING / 2;
                let bottom = begin + part.height;
                self.joins(vec![(x, bottom), (x, meet), (axis, meet), (axis, end)]);
            }
            left += part.width + BESIDE;
        }
    }
}
