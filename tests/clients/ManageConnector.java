import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.sourcelab.kafka.connect.apiclient.Configuration;
import org.sourcelab.kafka.connect.apiclient.KafkaConnectClient;
import org.sourcelab.kafka.connect.apiclient.request.dto.ConnectorPluginConfigDefinition;
import org.sourcelab.kafka.connect.apiclient.request.dto.NewConnectorDefinition;
import org.sourcelab.kafka.connect.apiclient.rest.exceptions.InvalidRequestException;
import org.sourcelab.kafka.connect.apiclient.rest.exceptions.ResourceNotFoundException;

/**
 * Runs a connector through its life with SourceLab's client of Kafka Connect for Java, which reads every answer into types of its own.
 * Arguments: the endpoint's URL, a name and a token, the connector's name. Standard input: its configuration as JSON. Prints what each
 * step found, as JSON, a line each.
 */
public class ManageConnector {
    private static final ObjectMapper JSON = new ObjectMapper();

    static void say(String step, Object found) throws Exception {
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("step", step);
        line.put("found", found);
        System.out.println(JSON.writeValueAsString(line));
    }

    static String waitFor(Supplier<String> state, String wanted) throws Exception {
        long deadline = System.nanoTime() + 60_000_000_000L;
        while (!state.get().equals(wanted)) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(state.get() + " and not " + wanted);
            }
            Thread.sleep(50);
        }
        return wanted;
    }

    @SuppressWarnings("unchecked")
    public static void main(String[] arguments) throws Exception {
        String name = arguments[3];
        Configuration configuration = new Configuration(arguments[0]).useBasicAuth(arguments[1], arguments[2]);
        KafkaConnectClient client = new KafkaConnectClient(configuration);
        Map<String, String> config = JSON.readValue(System.in, Map.class);
        say("version", client.getConnectServerVersion().getVersion());
        say("plugins", client.getConnectorPlugins().size() > 5);
        var definition = new ConnectorPluginConfigDefinition(config.get("connector.class"), config);
        say("errors", client.validateConnectorPluginConfig(definition).getErrorCount());
        say("created", client.addConnector(new NewConnectorDefinition(name, config)).getName());
        Supplier<String> task = () -> client.getConnectorTaskStatus(name, 0).getState();
        Supplier<String> connector = () -> client.getConnectorStatus(name).getConnector().get("state");
        say("running", waitFor(task, "RUNNING"));
        say("expanded", client.getConnectorsWithAllExpandedMetadata().getStatusForConnector(name).getType());
        say("tasks", client.getConnectorTasks(name).size());
        say("topics", client.getConnectorTopics(name).getName());
        say("config", client.getConnectorConfig(name).get("stream"));
        client.pauseConnector(name);
        say("paused", waitFor(connector, "PAUSED"));
        client.resumeConnector(name);
        say("resumed", waitFor(connector, "RUNNING"));
        say("restarted", client.restartConnector(name));
        say("task restarted", client.restartConnectorTask(name, 0));
        client.stopConnector(name);
        say("stopped", waitFor(connector, "STOPPED"));
        Map<String, String> changed = new LinkedHashMap<>(client.getConnectorConfig(name));
        changed.put("format.envelope", "entity");
        say("changed", client.updateConnectorConfig(name, changed).getConfig().get("format.envelope"));
        try {
            client.addConnector(new NewConnectorDefinition("wrong", Map.of("connector.class", config.get("connector.class"))));
        } catch (InvalidRequestException refused) {
            say("refused", refused.getMessage().contains("Connector configuration is invalid"));
        }
        say("deleted", client.deleteConnector(name));
        try {
            client.getConnectorStatus(name);
        } catch (ResourceNotFoundException gone) {
            say("gone", true);
        }
        say("names", client.getConnectors());
    }
}
