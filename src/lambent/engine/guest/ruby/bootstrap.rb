# frozen_string_literal: true

# The Ruby runtime client: it behaves as AWS's does (the gem comes from a registry that is out of reach for Debian's Ruby).
# With --wait it loads first and then reads its function from descriptor 3, as JSON: {"environment": {…}}.
require 'json'
require 'logger'
require 'socket'
require 'stringio'
require 'time'

$stdout.sync = true
$_global_aws_request_id = nil

module AwsLambda
  # Functions may replace these two, as on AWS.
  class Marshaller
    class << self
      def marshall_request(raw_request)
        raw_request['Content-Type'] == 'application/json' ? JSON.parse(raw_request.body) : raw_request.body
      end

      # The answer, or the answer and its content type.
      def marshall_response(method_response)
        case method_response
        when StringIO, IO then [method_response, 'application/unknown']
        else method_response.to_json
        end
      end
    end
  end
end

class LambdaContext
  attr_reader :aws_request_id, :invoked_function_arn, :log_group_name, :log_stream_name, :function_name,
              :memory_limit_in_mb, :function_version, :identity, :client_context, :tenant_id, :deadline_ms

  def initialize(request)
    @clock_diff = clock(Process::CLOCK_REALTIME) - clock(Process::CLOCK_MONOTONIC)
    @deadline_ms = request['Lambda-Runtime-Deadline-Ms'].to_i
    @aws_request_id = request['Lambda-Runtime-Aws-Request-Id']
    @invoked_function_arn = request['Lambda-Runtime-Invoked-Function-Arn']
    @log_group_name = ENV['AWS_LAMBDA_LOG_GROUP_NAME']
    @log_stream_name = ENV['AWS_LAMBDA_LOG_STREAM_NAME']
    @function_name = ENV['AWS_LAMBDA_FUNCTION_NAME']
    @memory_limit_in_mb = ENV['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']
    @function_version = ENV['AWS_LAMBDA_FUNCTION_VERSION']
    @identity = parsed(request['Lambda-Runtime-Cognito-Identity'])
    @client_context = parsed(request['Lambda-Runtime-Client-Context'])
    @tenant_id = request['Lambda-Runtime-Aws-Tenant-Id']
  end

  def get_remaining_time_in_millis
    [@deadline_ms - clock(Process::CLOCK_MONOTONIC) - @clock_diff, 0].max
  end

  private

  def clock(kind)
    Process.clock_gettime(kind, :millisecond)
  end

  def parsed(text)
    JSON.parse(text) if text
  end
end

module Lambent
  INVOCATION = '/2018-06-01/runtime/invocation'

  # One answer of the Runtime API: headers by name, whatever their case.
  class Answer
    attr_reader :status, :body

    def initialize(status, headers, body)
      @status = status
      @headers = headers
      @body = body
    end

    def [](name)
      @headers[name.downcase]
    end
  end

  # The Runtime API (2018-06-01) over one connection.
  class RuntimeApi
    def initialize(address)
      @address = address
      host, port = address.split(':')
      @socket = TCPSocket.new(host, port.to_i)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
    end

    def call(method, path, body = nil, headers = {})
      lines = ["#{method} #{path} HTTP/1.1", "Host: #{@address}", "User-Agent: aws-lambda-ruby/#{RUBY_VERSION}"]
      headers.each { |name, value| lines << "#{name}: #{value.to_s.gsub(/[^\x20-\x7e]/, ' ')}" }
      lines << "Content-Length: #{body.bytesize}" if body
      @socket.write("#{lines.join("\r\n")}\r\n\r\n".b + (body || '').b)
      receive
    end

    private

    def receive
      status = @socket.gets("\r\n") or raise IOError, 'the Runtime API closed the connection'
      headers = {}
      while (line = @socket.gets("\r\n")) && line != "\r\n"
        name, value = line.split(':', 2)
        headers[name.downcase] = value.strip.force_encoding('UTF-8')
      end
      body = @socket.read(headers['content-length'].to_i) || ''
      Answer.new(status.split(' ')[1].to_i, headers, body.force_encoding('UTF-8'))
    end
  end

  # What functions print, framed so that several lines are one message. AWS's framing.
  class LogSink
    TEXT = 0xa55a0003

    def initialize(io)
      @io = io
      @lock = Mutex.new
    end

    def write(message)
      data = message.to_s.b
      now = Process.clock_gettime(Process::CLOCK_REALTIME, :microsecond)
      @lock.synchronize { @io.syswrite([TEXT, data.bytesize, now].pack('L>L>Q>') + data) }
    end

    def close; end

    def reopen(*); end
  end

  class TextFormatter < Logger::Formatter
    def call(severity, time, progname, msg)
      stamp = time.strftime('%Y-%m-%dT%H:%M:%S.%6N')
      "#{severity[0]}, [#{stamp} ##{Process.pid}] #{severity.rjust(5)} #{$_global_aws_request_id} -- " \
        "#{progname}: #{msg2str(msg)}\n"
    end
  end

  class JsonFormatter < Logger::Formatter
    def call(severity, time, progname, msg)
      text = msg.is_a?(Exception) ? msg.message : msg2str(msg)
      line = { timestamp: time.utc.strftime('%Y-%m-%dT%H:%M:%S.%6NZ'), level: severity, message: text,
               requestId: $_global_aws_request_id, logger: progname }
      if msg.is_a?(Exception)
        line.update(errorType: msg.class.to_s, errorMessage: msg.message, stackTrace: Array(msg.backtrace))
      end
      "#{JSON.generate(line.compact)}\n"
    end
  end

  # Loggers on the standard streams write AWS's lines, with the request's identifier.
  module LoggerPatch
    def initialize(logdev, shift_age = 0, shift_size = 1_048_576, level: Lambent.level, formatter: nil, **rest)
      if logdev.nil? || [$stdout, $stderr].include?(logdev)
        logdev = Lambent.sink
        formatter ||= Lambent.json? ? JsonFormatter.new : TextFormatter.new
      end
      super(logdev, shift_age, shift_size, level: level, formatter: formatter, **rest)
    end
  end

  class << self
    attr_accessor :sink

    def json?
      ENV['AWS_LAMBDA_LOG_FORMAT'].to_s.casecmp?('JSON')
    end

    def level
      wanted = ENV['AWS_LAMBDA_LOG_LEVEL'].to_s.downcase
      { 'trace' => 'debug', '' => 'debug' }.fetch(wanted, wanted)
    end

    def patch_output
      self.sink = LogSink.new($stdout)
      ENV.delete('_LAMBDA_TELEMETRY_LOG_FD')
      Logger.prepend(LoggerPatch)
      Kernel.module_eval do
        def puts(*arguments)
          Lambent.sink.write("#{arguments.flatten.map { |a| a.to_s.encode('UTF-8') }.join("\n").chomp}\n")
        end
      end
    end
  end

  # Loads the function and hands it its events.
  class Runner
    CRITICAL = 255 # what AWS's client leaves with: -1, and -4
    INIT = 252

    def initialize(api)
      @api = api
    end

    def run(handler)
      load_function(handler)
      loop { serve(@api.call('GET', "#{INVOCATION}/next")) }
    rescue SystemExit
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      init_failed(e)
    end

    private

    def load_function(handler)
      parts = handler.split('.')
      unless [2, 3].include?(parts.size)
        raise ArgumentError, "Invalid handler #{parts}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where " \
                             'FILENAME corresponds with an existing Ruby source file FILENAME.rb, CLASS is an optional ' \
                             'module/class namespace and METHOD is a callable method. If using CLASS, METHOD must be a ' \
                             'class-level method.'
      end
      file, *@owner, @method = parts
      require file
    end

    def serve(request)
      raise IOError, "Received #{request.status} when waiting for next invocation." if request.status != 200

      id = $_global_aws_request_id = request['Lambda-Runtime-Aws-Request-Id']
      ENV['_X_AMZN_TRACE_ID'] = request['Lambda-Runtime-Trace-Id'] if request['Lambda-Runtime-Trace-Id']
      answer, kind = call_handler(AwsLambda::Marshaller.marshall_request(request), LambdaContext.new(request))
      answer = answer.read if kind == 'application/unknown'
      @api.call('POST', "#{INVOCATION}/#{id}/response", answer, 'Content-Type' => kind || 'application/json')
    rescue SystemExit
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException
      failed(id, e)
    end

    def call_handler(event, context)
      target = @owner.empty? ? self : Kernel.const_get(@owner[0])
      AwsLambda::Marshaller.marshall_response(target.send(@method, event: event, context: context))
    end

    def failed(id, error)
      critical = error.is_a?(NameError) || !error.is_a?(StandardError)
      report(critical ? 'Critical exception from handler' : 'Error raised from handler method', error, 'Function')
      body = describe(error, 'Function').to_json
      @api.call('POST', "#{INVOCATION}/#{id}/error", body, error_headers(error, 'Function'))
      exit!(CRITICAL) if critical
    end

    def init_failed(error)
      report('Init error when loading handler ', error, 'Init')
      body = describe(error, 'Init').to_json
      @api.call('POST', '/2018-06-01/runtime/init/error', body, error_headers(error, 'Init'))
      exit!(INIT)
    end

    def error_headers(error, kind)
      { 'Content-Type' => 'application/json', 'Lambda-Runtime-Function-Error-Type' => "#{kind}<#{error.class}>" }
    end

    def report(message, error, kind)
      Lambent.sink.write("#{message}\n")
      Lambent.sink.write("#{JSON.pretty_generate(describe(error, kind))}\n")
    end

    def describe(error, kind)
      trace = (error.backtrace || []).take_while { |line| !line.start_with?(__FILE__) }.first(100)
      { errorMessage: error.message, errorType: "#{kind}<#{error.class}>", stackTrace: trace }
    end
  end

  def self.become(start)
    ENV.replace(start['environment'])
    Dir.chdir(ENV.fetch('LAMBDA_TASK_ROOT'))
    Gem.clear_paths
  end

  def self.start
    if ARGV.delete('--wait')
      api = RuntimeApi.new('127.0.0.1:9001')
      become(JSON.parse(IO.for_fd(3).read))
    end
    # Not RUBYLIB's own order: a waiting process has not seen it, and a function's files come first.
    $LOAD_PATH.unshift(ENV.fetch('LAMBDA_TASK_ROOT'), *ENV.fetch('RUBYLIB', '').split(':')).uniq!
    patch_output
    $PROGRAM_NAME = '/var/runtime/bootstrap.rb'
    Runner.new(api || RuntimeApi.new(ENV.fetch('AWS_LAMBDA_RUNTIME_API'))).run(ENV.fetch('_HANDLER'))
  end
end

Lambent.start
