//! Runs one program of the shop without the fabric: `PORT_HTTP=8080 cargo run -p taffeta-example-shop -- orders`.

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let program = args.next().unwrap_or_default();
    taffeta_example_shop::run(&program, &args.collect::<Vec<_>>())
}
