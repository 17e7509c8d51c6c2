//! MySQL and MariaDB, where every reader knows by itself where it begins.

use std::path::PathBuf;
use std::sync::Arc;

use tailrace_tests::servers::{MySqlOptions, MySqlServer, MySqlVersion, Result};

use super::Shape;
use crate::failed;

/// The schema of the table.
pub(crate) const DATABASE: &str = "benchmark";

/// How many rows one `INSERT … SELECT` makes.
const NUMBERS: u64 = 500;

/// The table of W2, and what fills it: text differs from row to row, because equal rows flatter compression.
const SCHEMA: [&str; 4] = [
    "create database benchmark",
    "create table benchmark.cart (
        id bigint primary key, customer int not null, visit char(36) not null, status enum('open', 'paid', 'sent', 'returned') not null,
        currency char(3) not null, total decimal(12, 2) not null, discount decimal(8, 4), items int not null, is_gift bit(1) not null,
        added_on date not null, address varchar(255) not null, note varchar(255), contents text not null,
        modified_on timestamp(3) not null)",
    "create database benchmark_load",
    "create table benchmark_load.numbers (n bigint primary key)",
];

const FILL: &str = "
    create procedure benchmark_load.fill(first bigint, last bigint, size bigint, is_whole boolean)
    begin
        declare base bigint default first;
        start transaction;
        while base <= last do
            insert into benchmark.cart
            select id, id % 100000, uuid(), 1 + id % 4, 'EUR', (id % 100000) * 1.37, if(id % 3 = 0, null, id % 100 / 8), id % 40,
                   id % 2, date_add('2020-01-01', interval id % 3000 day), concat(left(sha2(id, 256), 32), ' Street ', id, ', ', left(sha2(id * 7, 256), 32)),
                   if(id % 3 = 0, null, concat('note ', id)),
                   concat(sha2(concat(id, 'a'), 512), sha2(concat(id, 'b'), 512), sha2(concat(id, 'c'), 512)), now(3)
            from (select n + base id from benchmark_load.numbers where n < size and n + base <= last) ids;
            if not is_whole then
                commit;
                start transaction;
            end if;
            set base = base + size;
        end while;
        commit;
    end";

/// As every server of the benchmark is started.
pub(crate) fn options(version: MySqlVersion) -> MySqlOptions {
    MySqlOptions::version(version)
        .setting("innodb_buffer_pool_size=1G")
        .setting("innodb_doublewrite=OFF")
}

/// A server with the table `cart`.
pub(crate) struct MySqlSource {
    pub(crate) server: Arc<MySqlServer>,
    /// File of the log and offset in it, before the first row.
    pub(crate) place: (String, u64),
    /// The transactions before it, where the server numbers them as MySQL does.
    pub(crate) executed: Option<String>,
}

// === impl MySqlSource ===

impl MySqlSource {
    /// A server with the empty table, and nothing in its log after the place that is kept.
    pub(crate) async fn start(version: MySqlVersion) -> Result<MySqlSource> {
        let server = Arc::new(MySqlServer::start(options(version))?);
        for statement in SCHEMA.into_iter().chain([FILL]) {
            server.execute(statement).await?;
        }
        let numbers: Vec<String> = (0..NUMBERS).map(|number| format!("({number})")).collect();
        let insert = format!("insert into benchmark_load.numbers values {}", numbers.join(", "));
        server.execute(&insert).await?;
        let place = server.log_end().await?;
        let executed = match version {
            MySqlVersion::MariaDb1011 => None,
            MySqlVersion::MySql56 | MySqlVersion::MySql97 => Some(server.query_value("select @@gtid_executed").await?),
        };
        Ok(MySqlSource {
            server,
            place,
            executed,
        })
    }

    pub(super) fn configuration(&self) -> String {
        let kind = self.server.version().connector_type();
        let socket = self.server.socket();
        format!(
            "type: {kind}\n      url: \"mysql://root@/?socket={}\"",
            socket.display()
        )
    }

    /// A folder with a file of the name of each file of the log, where everything that is written to it vanishes.
    pub(crate) async fn folder_of_nothing(&self) -> Result<PathBuf> {
        let folder = self.server.data_dir().with_file_name("nothing");
        std::fs::create_dir_all(&folder).map_err(failed("making a folder for mysqlbinlog"))?;
        for file in self.server.log_files().await? {
            let file = folder.join(file);
            if !file.is_symlink() {
                std::os::unix::fs::symlink("/dev/null", file).map_err(failed("preparing a folder for mysqlbinlog"))?;
            }
        }
        Ok(folder)
    }

    pub(super) async fn insert(&self, first: u64, last: u64, shape: Shape) -> Result<()> {
        let (size, is_whole) = match shape {
            Shape::OneTransaction => (NUMBERS, true),
            Shape::Transactions(size) => (size.min(NUMBERS), false),
        };
        let call = format!("call benchmark_load.fill({first}, {last}, {size}, {is_whole})");
        self.server.execute(&call).await
    }
}
