// Confluent's deserializer for Java over records in hexadecimal digits, one a line of the standard input; prints each as JSON.
// Run as a single file: java -cp 'LIBRARIES/*' ReadAvro.java REGISTRY_URL TOPIC
import io.confluent.kafka.serializers.KafkaAvroDeserializer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.HexFormat;
import java.util.Map;

public class ReadAvro {
    public static void main(String[] arguments) throws Exception {
        KafkaAvroDeserializer deserializer = new KafkaAvroDeserializer();
        deserializer.configure(Map.of("schema.registry.url", arguments[0]), false);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Object value = deserializer.deserialize(arguments[1], HexFormat.of().parseHex(line));
            System.out.println(value);
        }
    }
}
