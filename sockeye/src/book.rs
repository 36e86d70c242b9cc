//! The book's snippets, which are to compile: each page is the documentation of a module here.

/// Declares a module for each page.
macro_rules! pages {
    ($($module:ident => $page:literal,)*) => {
        $(#[doc = include_str!(concat!("../../docs/src/", $page, ".md"))] mod $module {})*
    };
}

pages! {
    start => "start",
    back_pressure => "topics/back-pressure",
    certificates => "how-to/certificates",
    compression => "topics/compression",
    deploys => "how-to/deploys",
    from_axum => "how-to/from-axum",
    from_tungstenite => "how-to/from-tungstenite",
    from_ws => "how-to/from-ws",
    keep_alive => "how-to/keep-alive",
    limits => "how-to/limits",
    testing => "how-to/testing",
}
