//! Redis in cluster mode: three masters that share the 16 384 slots, without replicas. It is what a serverless
//! ElastiCache speaks, and the only place where a command over two slots shows itself as an error.

use std::time::Duration;

use crate::cache_user::CacheUser;
use crate::eventually::eventually;
use crate::loopback_port;
use crate::redis_server::RedisServer;

/// The slots of each node. Their number is fixed by the protocol.
const SLOTS: [(&str, &str); 3] = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];

/// Longer than three servers ever need to agree.
const DEADLINE: Duration = Duration::from_secs(20);

/// A running cluster; dropping it ends its processes.
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts the nodes, lets them meet, and returns when each of them calls the cluster complete.
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        let mut bus_ports = Vec::new();
        for (epoch, (first, last)) in SLOTS.iter().enumerate() {
            let bus_port = loopback_port::reserve().to_string();
            let node = RedisServer::builder()
                .setting("cluster-enabled", "yes")
                .setting("cluster-port", &bus_port)
                .setting("cluster-node-timeout", "1000")
                .start()
                .await;
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await;
            // Nodes that start with different epochs have nothing to settle when they meet.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(epoch + 1).to_string()])
                .await;
            nodes.push(node);
            bus_ports.push(bus_port);
        }
        for (node, bus_port) in nodes.iter().zip(&bus_ports).skip(1) {
            let port = node.port().to_string();
            nodes[0]
                .command(&["CLUSTER", "MEET", "127.0.0.1", &port, bus_port])
                .await;
        }
        let cluster = Self { nodes };
        eventually(DEADLINE, async || cluster.is_complete().await).await;
        cluster
    }

    /// The URL of one node; a client finds the others from there.
    pub fn url(&self) -> String {
        self.nodes[0].url()
    }

    /// Its URL as a user of the template's, who is added to every node.
    pub async fn url_as(&self, user: CacheUser) -> String {
        let (name, password) = (user.name(), format!(">{}", user.name()));
        let rules = user.rules();
        let mut command = vec!["ACL", "SETUSER", name, &password];
        command.extend(rules.split(' '));
        for node in &self.nodes {
            node.command(&command).await;
        }
        self.nodes[0].url_with(name, name)
    }

    /// The three masters, in the order of their slots.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The keys on any node that match a pattern, sorted.
    pub async fn keys(&self, pattern: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for node in &self.nodes {
            keys.extend(node.keys(pattern).await);
        }
        keys.sort();
        keys
    }

    async fn is_complete(&self) -> bool {
        for node in &self.nodes {
            let info: String = node.query(&["CLUSTER", "INFO"]).await;
            if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:3") {
                return false;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::RedisCluster;

    #[tokio::test]
    async fn keys_of_every_slot_have_a_home() {
        let cluster = RedisCluster::start().await;
        let client = redis::cluster::ClusterClient::new([cluster.url()]).expect("the URL is valid");
        let mut connection = client
            .get_async_connection()
            .await
            .expect("the cluster is complete");
        for key in ["a", "b", "c", "d", "e", "f"] {
            let set = redis::cmd("SET")
                .arg(key)
                .arg("1")
                .query_async::<()>(&mut connection)
                .await;
            set.expect("some node has the slot");
        }
        assert_eq!(cluster.keys("*").await, ["a", "b", "c", "d", "e", "f"]);
    }
}
