use crate::Result;

/// What a server is told.
pub struct Arguments {
    /// Where to listen.
    pub address: String,
    /// Whether connections are under TLS.
    pub tls: bool,
}

impl Arguments {
    /// Reads `ADDRESS [--tls]`.
    ///
    /// # Errors
    ///
    /// They are something else.
    pub fn parse() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        match &arguments[..] {
            [address] => Ok(Self { address: address.clone(), tls: false }),
            [address, flag] if flag == "--tls" => Ok(Self { address: address.clone(), tls: true }),
            _ => Err("usage: ADDRESS [--tls]".into()),
        }
    }
}
