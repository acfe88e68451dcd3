//! Web pages: which may call, and which may not.
//!
//! A browser lets any page send requests here, also to the loopback interface, and only keeps the
//! answers from it. A poll or a start is done by then. So what comes from a page of another origin
//! is refused unless that origin was named. A page may also have its own name point here: then the browser
//! takes this server for the page's origin, and only the name that it asks for tells.

use std::net::IpAddr;

use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::HEADER;
use crate::app::App;
use crate::refusal::Refusal;
use crate::traced::{TRACEPARENT, TRACESTATE};

/// Tells pages of these origins that they may read the answers.
pub(crate) fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(
            [CONTENT_TYPE]
                .into_iter()
                .chain([HEADER, TRACEPARENT, TRACESTATE].map(HeaderName::from_static))
                .collect::<Vec<_>>(),
        )
}

/// Refuses what comes from a page that may not call.
pub(crate) async fn keep_out(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    keep_names_out(app, headers).await?;
    if is_foreign(headers, &app.origins) {
        app.access.count_foreign();
        let text =
            "a web page of another origin may not call this server: name it with --cors-origin";
        return Err(Refusal::forbidden(text));
    }
    Ok(())
}

/// Where nobody is asked who he is, a name of the world's does not count: it may point here by a page's will.
pub(crate) async fn keep_names_out(app: &App, headers: &HeaderMap) -> Result<(), Refusal> {
    let asked = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if app.loopback
        && !is_of_this_machine(asked, &app.origins)
        && app.access.keys().await?.is_empty()
    {
        app.access.count_foreign();
        return Err(Refusal::forbidden(format!(
            "without keys this server does not answer to the name {asked:?}, which a web page may have given it: name it with --cors-origin, or make a key"
        )));
    }
    Ok(())
}

/// Whether it is the origin of a page that this server gave, or one behind the same name.
pub(crate) fn is_of_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let of = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    of.is_some_and(|(_, of)| of == host)
}

fn is_of_this_machine(asked: &str, origins: &[HeaderValue]) -> bool {
    let mut named = origins.iter().filter_map(|origin| origin.to_str().ok()?.split_once("://"));
    if asked.is_empty() || named.any(|(_, host)| host == asked) {
        return true;
    }
    let host = match asked.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => asked,
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    // Nobody can have a name without a dot point anywhere.
    !host.contains('.')
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok()
}

fn is_foreign(headers: &HeaderMap, origins: &[HeaderValue]) -> bool {
    if let Some(origin) = headers.get(ORIGIN) {
        if origins.contains(origin) {
            return false;
        }
        return !is_of_host(origin, headers);
    }
    // Images and links come without an origin.
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site" || site == "same-site")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_localhost_are_of_this_machine_and_other_names_only_where_they_are_given() {
        let given = [HeaderValue::from_static("https://ops.example.com")];
        for own in [
            "",
            "localhost",
            "LOCALHOST:8080",
            "oms.localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "[::1]",
            "192.168.0.7",
            "shop:8080",
            "ops.example.com",
        ] {
            assert!(is_of_this_machine(own, &given), "{own}");
        }
        for other in [
            "evil.example.com:8080",
            "127.0.0.1.evil.example.com",
            "localhost.evil.example.com",
            "ops.example.com:8080",
            "1.evil.example.com:80",
        ] {
            assert!(!is_of_this_machine(other, &given), "{other}");
        }
    }
}
