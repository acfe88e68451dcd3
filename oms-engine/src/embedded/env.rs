//! The environment variables that decide where PostgreSQL comes from, read once per start.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the environment says. An empty variable counts as not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    /// `DATABASE_URL`: an existing server; nothing is started.
    pub(crate) database_url: Option<String>,
    /// `OMS_POSTGRES_BIN`: the directory of the server programs.
    pub(crate) bin: Option<PathBuf>,
    /// `OMS_POSTGRES_LOCAL=never`: programs installed on this machine are not looked at.
    pub(crate) local_never: bool,
    /// `OMS_POSTGRES_DOWNLOAD=never`: nothing is downloaded.
    pub(crate) download_never: bool,
    /// `OMS_POSTGRES_MIRROR`: another base URL for the download.
    pub(crate) mirror: Option<String>,
    /// `PATH`.
    pub(crate) path: OsString,
    /// `HOME`.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_DATA_HOME`.
    pub(crate) data_home: Option<PathBuf>,
    /// `XDG_CACHE_HOME`.
    pub(crate) cache_home: Option<PathBuf>,
}

impl Env {
    pub(crate) fn read() -> Self {
        Self {
            database_url: text("DATABASE_URL"),
            bin: path("OMS_POSTGRES_BIN"),
            local_never: text("OMS_POSTGRES_LOCAL").as_deref() == Some("never"),
            download_never: text("OMS_POSTGRES_DOWNLOAD").as_deref() == Some("never"),
            mirror: text("OMS_POSTGRES_MIRROR"),
            path: std::env::var_os("PATH").unwrap_or_default(),
            home: path("HOME"),
            data_home: path("XDG_DATA_HOME"),
            cache_home: path("XDG_CACHE_HOME"),
        }
    }

    /// The folder below which kept servers live.
    ///
    /// The server of a program that runs as root runs as another user, who cannot enter root's
    /// home; so root keeps its data where services do.
    pub(crate) fn data_folder(&self, root: bool) -> Option<PathBuf> {
        self.user_folder(self.data_home.as_ref(), root, "/var/lib", ".local/share")
    }

    /// The folder below which downloaded programs live.
    pub(crate) fn cache_folder(&self, root: bool) -> Option<PathBuf> {
        self.user_folder(self.cache_home.as_ref(), root, "/var/cache", ".cache")
    }

    fn user_folder(
        &self,
        set: Option<&PathBuf>,
        root: bool,
        system: &str,
        below_home: &str,
    ) -> Option<PathBuf> {
        let base = match (set, &self.home) {
            (Some(set), _) => set.clone(),
            (None, _) if root => PathBuf::from(system),
            (None, Some(home)) => home.join(below_home),
            (None, None) => return None,
        };
        Some(base.join("oms-engine"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where this feature reads them")]
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Names of the variables by which libpq and the server programs take orders from the environment.
/// The programs that we start get theirs from us alone.
pub(super) fn postgres_variables() -> Vec<OsString> {
    std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.as_encoded_bytes().starts_with(b"PG"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(env: &Env, root: bool) -> [Option<String>; 2] {
        [env.data_folder(root), env.cache_folder(root)]
            .map(|folder| folder.map(|path| path.display().to_string()))
    }

    fn both(data: &str, cache: &str) -> [Option<String>; 2] {
        [Some(data.to_owned()), Some(cache.to_owned())]
    }

    #[test]
    fn folders_are_where_the_users_other_programs_have_theirs() {
        let bare = Env::default();
        let home = Env { home: Some("/home/ann".into()), ..Env::default() };
        let xdg =
            Env { data_home: Some("/d".into()), cache_home: Some("/c".into()), ..home.clone() };
        assert_eq!(folders(&bare, false), [None, None]);
        assert_eq!(
            folders(&home, false),
            both("/home/ann/.local/share/oms-engine", "/home/ann/.cache/oms-engine")
        );
        assert_eq!(folders(&xdg, false), both("/d/oms-engine", "/c/oms-engine"));
        assert_eq!(folders(&home, true), both("/var/lib/oms-engine", "/var/cache/oms-engine"));
        assert_eq!(folders(&xdg, true), both("/d/oms-engine", "/c/oms-engine"));
    }
}
