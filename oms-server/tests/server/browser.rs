//! A browser, as far as the page's own requests go.

use std::time::Duration;

use crate::access::Key;

/// What a browser gets.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) text: String,
    headers: Vec<(String, String)>,
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn has(&self, text: &str) -> &Self {
        assert!(self.text.contains(text), "{text} is not in {}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn has_not(&self, text: &str) -> &Self {
        assert!(!self.text.contains(text), "{text} is in {}", self.text);
        self
    }
}

/// A browser that follows nothing by itself.
pub(crate) struct Browser {
    url: String,
    pub(crate) cookie: Option<String>,
    agent: ureq::Agent,
}

impl Browser {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(Duration::from_secs(60)));
        Self { url: url.to_owned(), cookie: None, agent: config.build().into() }
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        form: &str,
        headers: &[(&str, &str)],
    ) -> Page {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header("cookie", cookie);
        }
        let mut response = self.agent.run(request.body(form.to_owned()).unwrap()).unwrap();
        let headers = response.headers().iter();
        let headers =
            headers.map(|(k, v)| (k.to_string(), v.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        Page { status, headers, text: response.body_mut().read_to_string().unwrap() }
    }

    pub(crate) fn get(&self, path: &str) -> Page {
        self.send("GET", path, "", &[])
    }

    /// As a form of a page of ours sends it.
    pub(crate) fn post(&self, path: &str, form: &str) -> Page {
        self.send("POST", path, form, &[("origin", &self.url), ("sec-fetch-site", "same-origin")])
    }

    pub(crate) fn sign_in(&mut self, key: &Key) -> Page {
        let form = format!("key={}&secret={}&to=%2F", key.id, key.secret);
        let page = self.post("/sign-in", &form);
        let cookie = page.header("set-cookie").split(';').next().unwrap_or_default();
        self.cookie = (page.status == 303).then(|| cookie.to_owned());
        page
    }
}
