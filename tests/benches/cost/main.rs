//! What polling and scraping cost, as the rows of the table in tests/README.md, beside the cost of a
//! script that people would write instead.
//!
//! `cargo bench --bench cost` runs it all; `cargo bench --bench cost -- scraping` one part.

mod api;
mod changing;
mod measure;
mod polling;
mod scraping;
mod script;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<_> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let Some(world) = arguments.first().and_then(|name| api::world(name)) {
        return runtime.block_on(api::serve(world));
    }
    let wanted = |part: &str| arguments.is_empty() || arguments.iter().any(|it| it == part);
    println!("| what | measured |\n|---|---|");
    if wanted("polling") {
        polling::measure(&runtime);
    }
    if wanted("scraping") {
        scraping::measure();
    }
    if wanted("changing") {
        changing::measure(&runtime);
    }
    if wanted("script") {
        script::measure();
    }
}
