import com.fasterxml.jackson.databind.ObjectMapper;
import io.confluent.kafka.serializers.KafkaAvroDeserializer;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.avro.LogicalType;
import org.apache.avro.LogicalTypes;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericRecord;

/**
 * Confluent's deserializer of Avro for Java over keys and values, one a line of the standard input, each read as its client would.
 * Lines, and what is printed for each, are those of read_records.py. Run as a single file:
 * java -cp 'LIBRARIES/*' ReadAvro.java REGISTRY_URL
 */
public class ReadAvro {
  private static final Map<String, String> STRATEGIES =
      Map.of("topic", "TopicNameStrategy", "record", "RecordNameStrategy", "topic_record", "TopicRecordNameStrategy");

  public static void main(String[] arguments) throws Exception {
    Map<String, KafkaAvroDeserializer> deserializers = new HashMap<>();
    ObjectMapper json = new ObjectMapper();
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      String[] words = line.split(" ");
      boolean key = words[2].equals("key");
      var deserializer = deserializers.computeIfAbsent(words[1] + key, unused -> {
        KafkaAvroDeserializer made = new KafkaAvroDeserializer();
        String strategy = "io.confluent.kafka.serializers.subject." + STRATEGIES.get(words[1]);
        made.configure(Map.of("schema.registry.url", arguments[0],
            (key ? "key" : "value") + ".subject.name.strategy", strategy), key);
        return made;
      });
      Object value = deserializer.deserialize(words[3], HexFormat.of().parseHex(words[4]));
      out.println(json.writeValueAsString(plain(((GenericRecord) value).getSchema(), value)));
    }
  }

  private static Object plain(Schema schema, Object value) {
    if (value == null) {
      return null;
    }
    switch (schema.getType()) {
      case UNION:
        return plain(schema.getTypes().get(GenericData.get().resolveUnion(schema, value)), value);
      case RECORD:
        Map<String, Object> fields = new LinkedHashMap<>();
        for (Schema.Field field : schema.getFields()) {
          fields.put(field.name(), plain(field.schema(), ((GenericRecord) value).get(field.pos())));
        }
        return fields;
      case ARRAY:
        List<Object> items = new ArrayList<>();
        ((List<?>) value).forEach(item -> items.add(plain(schema.getElementType(), item)));
        return items;
      case MAP:
        Map<String, Object> entries = new LinkedHashMap<>();
        ((Map<?, ?>) value).forEach((name, entry) -> entries.put(name.toString(), plain(schema.getValueType(), entry)));
        return entries;
      case BYTES:
        byte[] bytes = new byte[((ByteBuffer) value).remaining()];
        ((ByteBuffer) value).duplicate().get(bytes);
        return schema.getLogicalType() instanceof LogicalTypes.Decimal decimal
            ? new BigDecimal(new BigInteger(bytes), decimal.getScale()).toPlainString()
            : HexFormat.of().formatHex(bytes);
      case INT:
      case LONG:
        return moment(schema.getLogicalType(), (Number) value);
      case STRING:
      case ENUM:
        return value.toString();
      default:
        return value;
    }
  }

  private static Object moment(LogicalType type, Number value) {
    DateTimeFormatter moments = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS");
    switch (type == null ? "" : type.getName()) {
      case "date":
        return LocalDate.ofEpochDay(value.longValue()).toString();
      case "time-micros":
        return LocalTime.ofNanoOfDay(value.longValue() * 1000).format(DateTimeFormatter.ofPattern("HH:mm:ss.SSSSSS"));
      case "timestamp-micros":
      case "local-timestamp-micros":
        Instant instant = Instant.EPOCH.plus(value.longValue(), ChronoUnit.MICROS);
        String zone = type.getName().startsWith("local") ? "" : "Z";
        return LocalDateTime.ofInstant(instant, ZoneOffset.UTC).format(moments) + zone;
      default:
        return value;
    }
  }
}
