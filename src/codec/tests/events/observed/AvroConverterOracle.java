import io.confluent.connect.avro.AvroConverter;
import io.confluent.kafka.schemaregistry.avro.AvroSchema;
import io.confluent.kafka.schemaregistry.client.MockSchemaRegistryClient;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.connect.json.JsonConverter;

/**
 * Reads events as Kafka Connect's JSON converter writes them, one a line, and writes what Confluent's Avro converter makes of
 * each: the bytes behind the schema's number in hexadecimal, a tab, the schema. See avro_observed.rs.
 */
public class AvroConverterOracle {
  public static void main(String[] arguments) throws Exception {
    JsonConverter json = new JsonConverter();
    json.configure(Map.of("schemas.enable", "true"), false);
    MockSchemaRegistryClient registry = new MockSchemaRegistryClient();
    AvroConverter avro = new AvroConverter(registry);
    avro.configure(Map.of("schema.registry.url", "mock://observed"), false);
    BufferedReader events = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, "UTF-8");
    int number = 0;
    for (String event = events.readLine(); event != null; event = events.readLine()) {
      String topic = "t" + number++;
      var data = json.toConnectData(topic, event.getBytes(StandardCharsets.UTF_8));
      byte[] bytes = avro.fromConnectData(topic, data.schema(), data.value());
      var schema = (AvroSchema) registry.getSchemaById(ByteBuffer.wrap(bytes, 1, 4).getInt());
      out.println(HexFormat.of().formatHex(bytes, 5, bytes.length) + "\t" + schema.canonicalString());
    }
  }
}
